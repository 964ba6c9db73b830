"""A suite's result: figures, tables, charts, what others published."""

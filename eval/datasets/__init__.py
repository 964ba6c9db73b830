"""What suites are measured on: pictures, labels, tags and questions, and whether a model has seen them."""

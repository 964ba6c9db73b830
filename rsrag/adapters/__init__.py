"""The five tasks: caption, classify, change, ground and segment. An image goes in, numbers and maps come out."""

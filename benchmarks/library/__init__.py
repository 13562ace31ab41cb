"""What `bench --library` measures: indexing, queries beside other stores, and what things are worth."""

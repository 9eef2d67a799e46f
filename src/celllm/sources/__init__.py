"""What others published, as raw cells: download, inventory, readers, responses, simulator."""

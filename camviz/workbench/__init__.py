"""What is known of a picture in front of a network, each thing computed once, below any user interface."""

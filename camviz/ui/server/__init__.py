"""What all users of the server share, and Streamlit's internals."""

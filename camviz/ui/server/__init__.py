"""What everybody who uses the server shares, and Streamlit's own parts."""

"""The only part that knows Streamlit: cached calls, shared controls, panels and words."""

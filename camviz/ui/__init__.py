"""The only package that uses Streamlit: pages, controls, panels, links and the shared server."""

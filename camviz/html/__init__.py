"""What is drawn without Streamlit, as HTML: charts, the layer strip, the grid of maps, the report, and their words."""

"""Links that hold a page's state, and the address bar that shows them."""

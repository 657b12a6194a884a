"""The inbox over HTTP: the API, the page, and the callbacks that it sends. Needs the extra ``inbox``."""

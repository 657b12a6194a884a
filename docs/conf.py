"""The configuration of Sphinx."""

import emitkit_logging

project = "emitkit-logging"
author = "the authors of emitkit-logging"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = emitkit_logging.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
default_role = "code"  # a name in backquotes, in docstrings
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "emitkit-logging"
html_theme_options = {
    "source_repository": "https://github.com/emitkit/emitkit-logging",
    "source_branch": "main",
    "source_directory": "docs/",
}

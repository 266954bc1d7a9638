"""`python -m deploy.docs`: write the generated pages and say which changed."""

from deploy.docs.pages import write_pages

changed = write_pages()
print("\n".join(f"wrote {path}" for path in changed) or "every page is up to date")

"""Reports: what a build or a plan takes, as one document, and that document as a page. No terminal code lives here."""

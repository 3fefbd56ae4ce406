"""How a build is delivered: one module for each format, with a value ``PACKAGE`` that is a `recurc.package.base.Package`.

A board's file says in `packages` in which formats a build for it is delivered, and in which order they are made. A format
writes its files into the build, says which compilers it needs here, and puts the firmware on a board where that is its way.
Modules of this package are found by themselves. Code outside it names a `Package` under the entry point "recurc.packages", or
calls `register`.
"""

"""Names that mean something to whoever reads a generated file without care."""

HOSTILE = (
    'a"b', "a'b", 'a\\b', 'a\\', '*/ int x; /*', '// x', 'a\nb', 'x\nbuild_flags = !cmd', '!cmd', '; x', '# x',
    '${sysenv.HOME}', '${{ secrets.TOKEN }}', '$(touch /tmp/x)', '`touch /tmp/x`', '%s%n', '100%', ']]>',
    '<script>alert(1)</script>', '<!-- x', '&lt;', '| a | b |', '[x](javascript:alert(1))', '![x](http://x/y.png)',
    '\u2028x', '\u2029x', '\u202eevil', '\x85x', '\x1b[2J', '\x00x', '\ttab', '??/', '@x@', 'key: value', '- item',
    '*alias', '&anchor', '{a: b}', '? x', 'a  b', ' lead', 'trail ', 'ünïcödé', '日本', '😀', "n" * 5000, '...', '---',
    '=x', '+x', '${CURDIR}', '@{x}', '%{PATH}', '\\u0041', '\\x41', '~', 'null',
)  # fmt: skip

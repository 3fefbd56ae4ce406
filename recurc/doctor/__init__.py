"""What a computer needs for recurc, what it has, and who is at the other end of a port."""

"""Text from elsewhere, such as a reader's error, made fit for one line of a message."""


def one_line(text: str, width: int = 200) -> str:
    """`text` without line breaks and control characters, cut after a word if it is longer than `width`."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= width else text[:width].rpartition(" ")[0] + " …"

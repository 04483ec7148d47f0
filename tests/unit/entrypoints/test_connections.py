"""A reply's head travels with its body; nothing is held back that has no body."""

from headrace.entrypoints.scoring.connections import LARGEST_JOINED, JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Transport:
    def __init__(self):
        self.written = []
        self.closed = False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return name


def test_head_and_body_are_one_write():
    transport = Transport()
    joined = JoinedWrites(transport)
    for body in (b"{}", b"", b"HTTP/1.1 is a text too"):
        joined.write(HEAD)
        joined.write(body)
    assert transport.written == [HEAD + b"{}", HEAD, HEAD + b"HTTP/1.1 is a text too"]


def test_a_large_body_is_not_copied():
    transport = Transport()
    joined = JoinedWrites(transport)
    large = b"x" * (LARGEST_JOINED + 1)
    joined.write(HEAD)
    joined.write(large)
    assert transport.written == [HEAD, large]


def test_a_head_without_a_body_goes_out_when_the_reply_is_whole_or_the_connection_closes():
    transport = Transport()
    joined = JoinedWrites(transport)
    joined.write(HEAD)
    assert transport.written == []
    joined.flush()
    joined.flush()
    joined.write(HEAD)
    joined.close()
    assert transport.written == [HEAD, HEAD] and joined.is_closing()
    assert joined.get_extra_info("peername") == "peername"


def test_continue_is_sent_at_once():
    transport = Transport()
    JoinedWrites(transport).write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert len(transport.written) == 1

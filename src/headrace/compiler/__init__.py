"""What is made of a fitted object when it is registered: golden rows, and the certificate of its forms.

Used at registration and certification only; nothing that serves imports this room.
"""

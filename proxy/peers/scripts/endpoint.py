"""Where to connect, from the environment."""
import os
import ssl

HOST = os.environ["PEER_HOST"]
PORT = int(os.environ["PEER_PORT"])
SECURITY = os.environ["PEER_SECURITY"]
USER = os.environ["PEER_USER"]
PASSWORD = os.environ["PEER_PASSWORD"]


def context():
    return ssl.create_default_context(cafile=os.environ["PEER_CA"])

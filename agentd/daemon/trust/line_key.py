"""The key by which workers of this agent are known over lines that are TLS: made when first needed, for this run alone.

Not that of the device: a worker runs anybody's code, and what it holds stands for nothing but its end of a line.
"""

from __future__ import annotations

import asyncio
import ssl

from agentd.daemon.trust.identity import made


class LineKey:
    """Makes it once.

    Attributes:
        pem: the key and its certificate, as a worker loads them; empty until they are made.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._making = asyncio.Lock()
        self.pem = b""

    async def certificate(self) -> bytes:
        """Give the certificate (DER), by which sessions of neighbours know our workers.

        Raises:
            ConfigError: no key can be made here.
        """
        async with self._making:
            if not self.pem:
                self.pem = await made(self._name)
        text = self.pem.decode("ascii")
        return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :])

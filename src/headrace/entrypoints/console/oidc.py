"""Signing in at an OpenID provider: the authorization code flow with PKCE in a browser, signed tokens for programs.

Authlib does the flow (OpenID Connect Core 1.0, RFC 7636), joserfc checks tokens (RFC 7519). What is said of a person is
taken only from a token that the provider signed with a key pair, for this client.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from headrace import settings
from headrace.access.people import Identity
from headrace.access.roles import check_role
from headrace.kernel.errors import HeadraceError, InvalidInput, KeyNeeded, MissingExtra, Refused, Unavailable

SIGNED = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures by a key pair: one with a shared secret could be forged by whoever knows the public key."""
LEEWAY_SECONDS = 60
FETCH_SECONDS = 30.0
"""The least time between two looks for new keys because of a token that names an unknown one."""
SAID = ("access_denied", "login_required", "consent_required", "interaction_required", "temporarily_unavailable")
"""What a provider may say of a refusal that is repeated here; anything else could be anybody's words."""


class RoleRule(NamedTuple):
    """Roles by the values of a claim; the first value that somebody has decides, `*` is everybody's."""

    claim: str
    roles: tuple[tuple[str, str], ...]

    def role(self, claims: Mapping[str, Any]) -> str | None:
        """The role of somebody; None where no value gives one."""
        said = claims.get(self.claim)
        values = {str(one) for one in said} if isinstance(said, list) else {str(said)}
        return next((role for value, role in self.roles if value == "*" or value in values), None)


class Provider:
    """The OpenID provider of a console."""

    def __init__(
        self, issuer: str, client: str, secret: str, name_claim: str = "email", rule: RoleRule | None = None
    ) -> None:
        try:
            from authlib.integrations.starlette_client import OAuth
        except ImportError as error:
            raise MissingExtra(
                "Signing in at an OpenID provider needs Authlib.", todo="pip install 'headrace[oidc]'"
            ) from error
        self.issuer = issuer.rstrip("/")
        self.place = urlsplit(issuer).netloc
        self._client = client
        self._name_claim = name_claim
        self._rule = rule
        self._fetched = float("-inf")
        self._flow = OAuth().register(
            "provider",
            client_id=client,
            client_secret=secret or None,
            server_metadata_url=f"{self.issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
        )

    async def begin(self, request: Request, back: str) -> Response:
        """Send a browser to the provider, which sends it `back`.

        Raises:
            Unavailable: the provider does not answer as one.
        """
        await self._metadata()
        return await self._flow.authorize_redirect(request, back)

    async def finish(self, request: Request) -> Identity:
        """Who came back.

        Raises:
            KeyNeeded: the provider did not let them in, or this is not the browser that was sent there.
            Refused: see `identity`.
            Unavailable: the provider does not answer.
        """
        from authlib.integrations.starlette_client import OAuthError
        from joserfc.errors import JoseError

        try:
            token = await self._flow.authorize_access_token(request)
        except OAuthError as error:
            why = error.error if error.error in SAID else "this browser was not sent there, or the reply is not its own"
            raise KeyNeeded(f"{self.place} did not sign you in: {why}.", todo="Begin again.") from error
        except JoseError as error:
            raise KeyNeeded(f"{self.place} did not sign you in: {error.error}.", todo="Begin again.") from error
        except Exception as error:
            raise self._unavailable(error) from error
        if "userinfo" not in token:
            raise KeyNeeded(f"{self.place} did not say who you are.", expected="an ID token", todo="Begin again.")
        claims = await self._claims(str(token["id_token"]))
        needed = {self._name_claim, *([self._rule.claim] if self._rule else [])}
        if needed - claims.keys():
            claims = {**await self._more(token, claims["sub"]), **claims}
        return self._identity(claims)

    async def identity(self, token: str) -> Identity:
        """Whom a signed token is about, which a program sends.

        Raises:
            KeyNeeded: it is not a token of this provider for this client, or its time is over.
            Refused: it gives no name that can be relied on, or no role.
            Unavailable: the provider does not answer.
        """
        return self._identity(await self._claims(token))

    async def _claims(self, token: str) -> dict[str, Any]:
        from joserfc.errors import InvalidKeyIdError

        issuer = await self._metadata()
        keys = await self._keys(again=False)
        try:
            try:
                return _verified(token, keys, issuer, self._client)
            except InvalidKeyIdError:
                if time.monotonic() - self._fetched < FETCH_SECONDS:
                    raise
                self._fetched = time.monotonic()
            return _verified(token, await self._keys(again=True), issuer, self._client)
        except HeadraceError:
            raise
        except Exception as error:  # joserfc also raises what a header of wrong types leads to
            raise KeyNeeded(
                f"The token is not one of {self.place} for {self._client!r}: {str(error)[:200]}.",
                todo="Get a new one there.",
            ) from error

    async def _more(self, token: Any, subject: str) -> dict[str, Any]:
        """What the provider says of somebody beyond their ID token."""
        try:
            said = dict(await self._flow.userinfo(token=token))
        except Exception as error:
            raise self._unavailable(error) from error
        return said if said.get("sub") == subject else {}

    async def _metadata(self) -> str:
        """The issuer as the provider itself writes it."""
        try:
            found = await self._flow.load_server_metadata()
        except Exception as error:
            raise self._unavailable(error) from error
        if str(found.get("issuer", "")).rstrip("/") != self.issuer:
            raise Unavailable(
                f"{self.place} calls itself {found.get('issuer')!r}.",
                expected=self.issuer,
                todo="Correct HEADRACE_OIDC.",
            )
        return str(found["issuer"])

    async def _keys(self, again: bool) -> Any:
        try:
            return await self._flow.fetch_jwk_set(force=again)
        except Exception as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"The OpenID provider {self.issuer} does not answer as one: {type(error).__name__}: {error}.",
            expected=f"{self.issuer}/.well-known/openid-configuration",
            todo="See that it runs and that HEADRACE_OIDC is its issuer; accounts of this workspace go on.",
        )

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        name = claims.get(self._name_claim)
        sure = self._name_claim != "email" or claims.get("email_verified") is True
        if not isinstance(name, str) or not name or not sure:
            raise Refused(
                f"{self.place} gives no {'verified ' if self._name_claim == 'email' else ''}{self._name_claim}.",
                expected=f"the claim {self._name_claim}",
                todo="Set HEADRACE_OIDC_NAME to a claim that people cannot change themselves, such as upn.",
            )
        role = self._rule.role(claims) if self._rule else None
        if self._rule and role is None:
            raise Refused(
                f"{name} has no {self._rule.claim} at {self.place} that gives a role here.",
                expected=f"{self._rule.claim} of {', '.join(value for value, _ in self._rule.roles)}",
                todo="Ask an admin.",
            )
        return Identity(self.issuer, str(claims["sub"]), name, role)


def _verified(token: str, keys: Any, issuer: str, client: str) -> dict[str, Any]:
    """The claims of an ID token for this client (OpenID Connect Core 1.0, 3.1.3.7).

    Raises:
        JoseError, ValueError: it is none.
    """
    from joserfc import jwt
    from joserfc.jwk import KeySet

    found = jwt.decode(token, KeySet.import_key_set(keys), algorithms=SIGNED)
    rules = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client},
        exp={"essential": True},
        sub={"essential": True},
    )
    rules.validate(found.claims)
    claims = dict(found.claims)
    party, audience = claims.get("azp"), claims["aud"]
    if party not in (None, client) or (party is None and isinstance(audience, list) and len(audience) > 1):
        raise ValueError("it was given to another client")
    if str(found.header.get("typ", "JWT")).upper() != "JWT" or claims.get("typ", "ID") != "ID" or "events" in claims:
        raise ValueError("it is no ID token")
    return claims


def configured() -> Provider | None:
    """The provider of the settings; None where none is set.

    Raises:
        InvalidInput: a setting cannot be.
        MissingExtra: Authlib is not installed.
    """
    issuer = settings.read(settings.OIDC)
    if not issuer:
        return None
    at = urlsplit(issuer)
    if not at.netloc or (at.scheme != "https" and at.hostname not in ("127.0.0.1", "localhost", "::1")):
        raise InvalidInput(f"HEADRACE_OIDC is {issuer!r}.", expected="the issuer, https://...", todo="Correct it.")
    return Provider(
        issuer,
        settings.read(settings.OIDC_CLIENT),
        settings.read(settings.OIDC_SECRET),
        settings.read(settings.OIDC_NAME),
        role_rule(settings.read(settings.OIDC_ROLES)),
    )


def role_rule(text: str) -> RoleRule | None:
    """``groups:ml-admins=admin,*=viewer`` as a rule; None of the empty text.

    Raises:
        InvalidInput: it is none, or names a role that is not there.
    """
    if not text:
        return None
    claim, colon, listed = text.partition(":")
    pairs = tuple(tuple(part.strip() for part in one.rpartition("=")[::2]) for one in listed.split(",") if one.strip())
    if not (claim and colon and pairs and all(value and role for value, role in pairs)):
        raise InvalidInput(
            f"HEADRACE_OIDC_ROLES is {text!r}.", expected="CLAIM:VALUE=ROLE,VALUE=ROLE", todo="Correct it."
        )
    return RoleRule(claim.strip(), tuple((value, check_role(role)) for value, role in pairs))

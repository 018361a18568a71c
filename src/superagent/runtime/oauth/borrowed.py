"""What is borrowed from Authlib, which has no types of its own: the server and its flows, as classes to fill in."""

from __future__ import annotations

from typing import Any

from authlib.oauth2 import OAuth2Error as _Error
from authlib.oauth2 import rfc6749, rfc7009, rfc7636, rfc7662, rfc8628, rfc9207
from authlib.oauth2.rfc6749 import grants, requests, util

_core: Any = rfc6749
_flows: Any = grants
_device: Any = rfc8628
_about: tuple[Any, Any] = (rfc7009, rfc7662)
_more: tuple[Any, Any, Any, Any] = (rfc7636, rfc9207, requests, util)

OAuth2Error: Any = _Error
InvalidRequestError: Any = _core.InvalidRequestError
InvalidGrantError: Any = _core.InvalidGrantError
InvalidScopeError: Any = _core.InvalidScopeError

extract_basic_authorization: Any = _more[3].extract_basic_authorization
AuthorizationServer: Any = _core.AuthorizationServer
ClientMixin: Any = _core.ClientMixin
OAuth2Request: Any = _core.OAuth2Request
Payload: Any = _more[2].BasicOAuth2Payload
AuthorizationCodeGrant: Any = _flows.AuthorizationCodeGrant
ClientCredentialsGrant: Any = _flows.ClientCredentialsGrant
RefreshTokenGrant: Any = _flows.RefreshTokenGrant
DeviceCodeGrant: Any = _device.DeviceCodeGrant

RevocationEndpoint: Any = _about[0].RevocationEndpoint
IntrospectionEndpoint: Any = _about[1].IntrospectionEndpoint
DeviceAuthorizationEndpoint: Any = _device.DeviceAuthorizationEndpoint

CodeChallenge: Any = _more[0].CodeChallenge
IssuerParameter: Any = _more[1].IssuerParameter

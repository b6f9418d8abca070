"""Every page of the admin, under /admin. `create(services)` is all the composition root needs.

Pages are Jinja templates over the design system; what moves on them talks to `/api/v1`. Forms post here with a CSRF token.
"""

from starlette.routing import Route

from admin.views import (
    account,
    audit,
    films,
    invitations,
    joining,
    keys,
    logins,
    people,
    recovery,
    roles,
    second_factor,
    webhooks,
)
from admin.views.guard import action, page, visitor
from streamer.services import Services


def create(services: Services) -> list[Route]:
    """The routes. `services` is found at `request.app.state.services` when a request comes."""
    return [
        Route("/admin/sign-in", logins.show),
        Route("/admin/sign-in", visitor(logins.sign_in), methods=["POST"]),
        Route("/admin/sign-in/code", visitor(logins.answer), methods=["POST"]),
        Route("/admin/sign-up", joining.show_sign_up),
        Route("/admin/sign-up", visitor(joining.sign_up), methods=["POST"]),
        Route("/admin/invitation", joining.show_invitation),
        Route("/admin/invitation", visitor(joining.accept), methods=["POST"]),
        Route("/admin/confirm", joining.show_confirmation),
        Route("/admin/confirm", visitor(joining.confirm), methods=["POST"]),
        Route("/admin/forgotten", recovery.show_forgotten),
        Route("/admin/forgotten", visitor(recovery.forgotten), methods=["POST"]),
        Route("/admin/reset", recovery.show_reset),
        Route("/admin/reset", visitor(recovery.reset), methods=["POST"]),
        Route("/admin/sign-out", action(logins.sign_out, enrolling=True), methods=["POST"]),
        Route("/admin", page(films.library)),
        Route("/admin/upload", page(films.upload)),
        Route("/admin/assets/{id}", page(films.asset)),
        Route("/admin/people", page(people.show)),
        Route("/admin/people", action(people.add), methods=["POST"]),
        Route("/admin/people/{id}", page(people.one)),
        Route("/admin/people/{id}/role", action(people.set_role), methods=["POST"]),
        Route("/admin/people/{id}/second-factor", action(people.take_second_factor), methods=["POST"]),
        Route("/admin/people/{id}/erase", action(people.erase), methods=["POST"]),
        Route("/admin/people/{id}/disabled", action(people.set_disabled), methods=["POST"]),
        Route("/admin/roles", page(roles.show)),
        Route("/admin/roles", action(roles.make), methods=["POST"]),
        Route("/admin/roles/{name}", page(roles.one)),
        Route("/admin/roles/{name}", action(roles.change), methods=["POST"]),
        Route("/admin/roles/{name}/delete", action(roles.delete), methods=["POST"]),
        Route("/admin/invitations", page(invitations.show)),
        Route("/admin/invitations", action(invitations.invite), methods=["POST"]),
        Route("/admin/invitations/{id}/revoke", action(invitations.revoke), methods=["POST"]),
        Route("/admin/audit", page(audit.show)),
        Route("/admin/account", page(account.show)),
        Route("/admin/account/verification", action(account.verify), methods=["POST"]),
        Route("/admin/account/password", action(account.change_password), methods=["POST"]),
        Route("/admin/account/erase", action(account.erase), methods=["POST"]),
        Route("/admin/account/address", action(account.change_address), methods=["POST"]),
        Route("/admin/account/sessions/end", action(account.end_others), methods=["POST"]),
        Route("/admin/account/sessions/{id}/end", action(account.end_session), methods=["POST"]),
        Route("/admin/account/second-factor", page(second_factor.show, enrolling=True)),
        Route("/admin/account/second-factor", action(second_factor.begin, enrolling=True), methods=["POST"]),
        Route("/admin/account/second-factor/confirm", action(second_factor.confirm, enrolling=True), methods=["POST"]),
        Route("/admin/account/second-factor/codes", action(second_factor.renew_codes), methods=["POST"]),
        Route("/admin/account/second-factor/off", action(second_factor.turn_off), methods=["POST"]),
        Route("/admin/api-keys", page(keys.show)),
        Route("/admin/api-keys", action(keys.make), methods=["POST"]),
        Route("/admin/api-keys/{id}/revoke", action(keys.revoke), methods=["POST"]),
        Route("/admin/webhooks", page(webhooks.show)),
        Route("/admin/webhooks", action(webhooks.make), methods=["POST"]),
        Route("/admin/webhooks/{id}", page(webhooks.one)),
        Route("/admin/webhooks/{id}", action(webhooks.change), methods=["POST"]),
        Route("/admin/webhooks/{id}/enabled", action(webhooks.set_enabled), methods=["POST"]),
        Route("/admin/webhooks/{id}/rotate", action(webhooks.rotate), methods=["POST"]),
        Route("/admin/webhooks/{id}/ping", action(webhooks.ping), methods=["POST"]),
        Route("/admin/webhooks/{id}/replay", action(webhooks.replay), methods=["POST"]),
        Route("/admin/webhooks/{id}/delete", action(webhooks.delete), methods=["POST"]),
        Route("/admin/webhooks/{id}/deliveries/{delivery_id}/resend", action(webhooks.resend), methods=["POST"]),
    ]

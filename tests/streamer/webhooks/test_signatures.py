"""Signatures against the worked example that the Standard Webhooks libraries share."""

from streamer.webhooks import signatures


def test_the_shared_example_comes_out() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    made = signatures.headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs() -> None:
    old, new = signatures.new_secret(), signatures.new_secret()
    both = signatures.headers([new, old], "evt_1", 1, b"{}")["webhook-signature"].split(" ")
    assert both == [signatures.headers([one], "evt_1", 1, b"{}")["webhook-signature"] for one in (new, old)]
    assert old != new

"""Language tags as HLS wants them: BCP 47 takes the two-letter code wherever ISO 639-1 has one (RFC 5646 2.2.1), containers carry three letters."""

from __future__ import annotations

# ISO 639-2 (both B and T codes) to ISO 639-1, for the languages films come in.
SHORT = dict(
    pair.split(":")
    for pair in (
        "afr:af ara:ar aze:az bel:be ben:bn bos:bs bul:bg cat:ca ces:cs cze:cs cym:cy wel:cy dan:da deu:de ger:de ell:el gre:el eng:en epo:eo "
        "est:et eus:eu baq:eu fas:fa per:fa fin:fi fra:fr fre:fr gle:ga glg:gl guj:gu heb:he hin:hi hrv:hr hun:hu hye:hy arm:hy ind:id isl:is "
        "ice:is ita:it jpn:ja kan:kn kat:ka geo:ka kaz:kk khm:km kor:ko lat:la lav:lv lit:lt mal:ml mar:mr mkd:mk mac:mk mon:mn msa:ms may:ms "
        "mya:my bur:my nep:ne nld:nl dut:nl nno:nn nob:nb nor:no pan:pa pol:pl por:pt ron:ro rum:ro rus:ru sin:si slk:sk slo:sk slv:sl som:so "
        "spa:es sqi:sq alb:sq srp:sr swa:sw swe:sv tam:ta tel:te tgl:tl tha:th tur:tr ukr:uk urd:ur uzb:uz vie:vi zho:zh chi:zh zul:zu"
    ).split()
)


def tag(language: str | None) -> str:
    """A BCP 47 tag for what a container says; "und" for what makes no sense."""
    spoken = (language or "und").strip().lower()
    if not (spoken.isascii() and spoken.replace("-", "").isalnum() and 2 <= len(spoken) <= 12):
        return "und"
    return SHORT.get(spoken, spoken)

"""How news leaves the house: endpoints that customers name, what was sent to each, and `GET /events` for those who ask themselves.

Events lie below accounts, so that accounts may record some; what asks who somebody is lies here.
"""

"""The editors' and operators' web app: pages over the same functions and JSON API that programs use. `app.py` lists its routes."""

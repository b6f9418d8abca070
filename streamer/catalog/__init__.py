"""What the house keeps: assets, their versions and renditions, and the playback ids they are played by."""

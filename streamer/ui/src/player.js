// Mounts every [data-player] on the page.
import 'media-chrome';
import 'media-chrome/menu';
import 'hls-video-element';
import { Player } from './player/player.js';

for (const root of document.querySelectorAll('[data-player]')) new Player(root).open();

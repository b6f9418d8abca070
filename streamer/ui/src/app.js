// What every page of the admin and the site runs, the player aside. Alpine's CSP build: no eval, so logic lives in these modules and
// templates only name it.
import Alpine from '@alpinejs/csp';
import HSDropdown from 'preline/plugins/dropdown-non-auto';
import { asset } from './pages/asset.js';
import { library } from './pages/library.js';
import { upload } from './pages/upload.js';
import { versions } from './pages/versions.js';
import { copier, fold, percent, sieve, theme, toasts } from './pages/parts.js';

Alpine.data('theme', theme);
Alpine.data('toasts', toasts);
Alpine.data('copier', copier);
Alpine.data('fold', fold);
Alpine.data('sieve', sieve);
Alpine.data('library', library);
Alpine.data('upload', upload);
Alpine.data('asset', asset);
Alpine.data('versions', versions);
Alpine.directive('percent', percent);
Alpine.start();
HSDropdown.autoInit();

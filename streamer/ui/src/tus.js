// Resumable uploads: https://github.com/tus/tus-js-client, in a file of its own because few pages need it.
import { Upload, defaultOptions } from 'tus-js-client';

window.TusUpload = Upload;
window.tusMemory = defaultOptions.urlStorage; // which uploads this browser began

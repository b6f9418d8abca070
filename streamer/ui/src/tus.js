// Resumable uploads for the upload page: https://github.com/tus/tus-js-client, in a file of its own because no other page needs it.
import { Upload, defaultOptions } from 'tus-js-client';

window.TusUpload = Upload;
window.tusMemory = defaultOptions.urlStorage; // which uploads this browser began

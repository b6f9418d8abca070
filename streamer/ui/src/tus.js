// Resumable uploads for the upload page: https://github.com/tus/tus-js-client, in a file of its own because no other page needs it.
import { Upload } from 'tus-js-client';

window.TusUpload = Upload;

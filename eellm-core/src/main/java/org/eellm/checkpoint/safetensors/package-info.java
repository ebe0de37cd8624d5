/** Safetensors files, the tensors stored in them, and JSON files beside them. */
@NullMarked
package org.eellm.checkpoint.safetensors;

import org.jspecify.annotations.NullMarked;

/**
 * Parameters: tensors with a name in the Hugging Face scheme and a shard description, and their
 * gradients.
 */
@NullMarked
package org.eellm.model.parameter;

import org.jspecify.annotations.NullMarked;

/** How a tokenizer changes a text, and cuts it into the words that it works on. */
@NullMarked
package org.eellm.data.tokenizer.word;

import org.jspecify.annotations.NullMarked;

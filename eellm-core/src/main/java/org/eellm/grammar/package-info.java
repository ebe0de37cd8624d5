/** Languages that a generated text is held to: JSON Schema, regular expressions, grammars. */
@NullMarked
package org.eellm.grammar;

import org.jspecify.annotations.NullMarked;

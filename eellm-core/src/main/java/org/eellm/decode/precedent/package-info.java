/**
 * Drafts that need no layer: what followed a text's last tokens where they came before, in the
 * text, in other replies, in a table.
 */
@NullMarked
package org.eellm.decode.precedent;

import org.jspecify.annotations.NullMarked;

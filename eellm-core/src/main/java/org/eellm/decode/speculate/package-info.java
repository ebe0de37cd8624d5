/**
 * Drafts for lossless self-speculation: from exits and from the text, how many, and when they pay.
 */
@NullMarked
package org.eellm.decode.speculate;

import org.jspecify.annotations.NullMarked;

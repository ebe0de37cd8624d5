/** Documents out of files: plain text, JSON lines, Java source archives, compressed or not. */
@NullMarked
package org.eellm.data.corpus;

import org.jspecify.annotations.NullMarked;

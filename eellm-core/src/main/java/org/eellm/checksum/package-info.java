/** Checksums of files: how a damaged or exchanged one is told from the one that was written. */
@NullMarked
package org.eellm.checksum;

import org.jspecify.annotations.NullMarked;

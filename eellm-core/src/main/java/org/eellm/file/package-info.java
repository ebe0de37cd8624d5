/**
 * Files that users name: how they are read without harm, what is said of those that cannot be, and
 * checksums, by which a damaged file is told from the one that was written.
 */
@NullMarked
package org.eellm.file;

import org.jspecify.annotations.NullMarked;

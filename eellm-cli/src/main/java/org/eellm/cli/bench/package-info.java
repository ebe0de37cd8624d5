/** The bench commands. */
@NullMarked
package org.eellm.cli.bench;

import org.jspecify.annotations.NullMarked;

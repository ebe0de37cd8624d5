/** The train, tune and prepare commands. */
@NullMarked
package org.eellm.cli.train;

import org.jspecify.annotations.NullMarked;

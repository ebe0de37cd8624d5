/** The rules beside a setting: when it applies, and whether it may change on resuming. */
@NullMarked
package org.eellm.config.setting;

import org.jspecify.annotations.NullMarked;

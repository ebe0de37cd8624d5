package org.eellm.cli;

import java.util.ListResourceBundle;
import org.eellm.decode.exit.PolicyName;

/** Texts on exit policies in descriptions of options: {@code ${bundle:policy.to-calibrate}}. */
public final class PolicyTexts extends ListResourceBundle {
  @Override
  protected Object[][] getContents() {
    return new Object[][] {
      {"policy.to-calibrate", PolicyName.listed(PolicyName.ofConfidence(), "or")}
    };
  }
}

package org.eellm.config.yaml;

/** How many characters have to be put in, taken out or changed (Levenshtein). */
public final class EditDistance {
  private EditDistance() {}

  /** 1 less the distance over the longer text's length: 1 for texts that are the same. */
  public static double similarity(String one, String other) {
    int longer = Math.max(one.length(), other.length());
    return longer == 0 ? 1 : 1 - (double) between(one, other) / longer;
  }

  /** Characters to change from one text to the other. */
  public static int between(String one, String other) {
    int[] distances = new int[other.length() + 1]; // to the beginnings of the other
    for (int j = 0; j <= other.length(); j++) {
      distances[j] = j;
    }
    for (int i = 1; i <= one.length(); i++) {
      int diagonal = distances[0];
      distances[0] = i;
      for (int j = 1; j <= other.length(); j++) {
        int changed = diagonal + (one.charAt(i - 1) == other.charAt(j - 1) ? 0 : 1);
        diagonal = distances[j];
        distances[j] = Math.min(changed, 1 + Math.min(distances[j], distances[j - 1]));
      }
    }
    return distances[other.length()];
  }
}

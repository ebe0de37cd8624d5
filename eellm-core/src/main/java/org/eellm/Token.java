package org.eellm;

/**
 * A generated token, and where it left the model.
 *
 * @param id in the tokenizer's vocabulary
 * @param text what is certain of the text once this token is there. It is empty where a character,
 *     or what may be a stop text, is not complete yet; the text's last token has the rest
 * @param layer of the exit that it left at, from 1; of the final head the number of layers
 * @param isFinal whether it left at the final head, as opposed to an exit
 * @param confidence the largest probability at that head
 * @param wasDrafted whether an exit, or the text itself, proposed it, and the head confirmed it
 */
public record Token(
    int id, String text, int layer, boolean isFinal, double confidence, boolean wasDrafted) {}

package dev.optgptq.cli.console;

import java.util.ArrayList;
import java.util.List;

/** Columns of text, aligned. The header decides the columns; those named in {@code right} are aligned to the right. */
public final class TextTable {

    private static final String GAP = "  ";

    private final List<String> header;
    private final List<Boolean> right;
    private final List<List<String>> rows = new ArrayList<>();

    private TextTable(List<String> header, List<Boolean> right) {
        this.header = header;
        this.right = right;
    }

    /** @param columns their titles; a leading ">" aligns to the right */
    public static TextTable of(String... columns) {
        List<String> header = new ArrayList<>();
        List<Boolean> right = new ArrayList<>();
        for (String column : columns) {
            right.add(column.startsWith(">"));
            header.add(column.startsWith(">") ? column.substring(1) : column);
        }
        return new TextTable(header, right);
    }

    /** Adds a row with one cell for each column. */
    public TextTable row(String... cells) {
        if (cells.length != header.size()) {
            throw new IllegalArgumentException(cells.length + " cells for " + header.size() + " columns");
        }
        rows.add(List.of(cells));
        return this;
    }

    /** The lines, each starting with the indent; without the header when all titles are empty. */
    public String text(String indent) {
        StringBuilder text = new StringBuilder();
        if (header.stream().anyMatch(title -> !title.isEmpty())) {
            append(text, indent, header);
        }
        rows.forEach(row -> append(text, indent, row));
        return text.toString();
    }

    private void append(StringBuilder text, String indent, List<String> cells) {
        StringBuilder line = new StringBuilder(indent);
        for (int column = 0; column < cells.size(); column++) {
            String cell = cells.get(column);
            String padding = " ".repeat(width(column) - cell.length());
            line.append(column == 0 ? "" : GAP).append(right.get(column) ? padding + cell : cell + padding);
        }
        text.append(line.toString().stripTrailing()).append(System.lineSeparator());
    }

    private int width(int column) {
        int widest = header.get(column).length();
        for (List<String> row : rows) {
            widest = Math.max(widest, row.get(column).length());
        }
        return widest;
    }
}

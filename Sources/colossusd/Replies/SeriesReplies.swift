import ControlAPI
import Receivers

extension TopSeriesReply {
    /// - Parameter by: only rows of that kind; `nil` is all.
    init(_ census: SeriesCensus, by: TopSeriesRow.Kind?) {
        self.init(
            series: census.series, seriesMax: census.seriesMax,
            seriesPerSenderMax: census.seriesPerSenderMax, folded: census.folded,
            foldedSamples: census.foldedSamples)
        for (kind, rows) in [
            (TopSeriesRow.Kind.sender, census.senders), (.field, census.fields), (.node, census.nodes),
            (.label, census.labels),
        ] where by == nil || by == kind {
            self.rows += rows.map {
                TopSeriesRow(by: kind, name: $0.name, series: $0.series, folded: $0.folded)
            }
        }
    }
}

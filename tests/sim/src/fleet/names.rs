//! Names as customers give them: with quotes, spaces, signs and other alphabets, since each has broken some script.

pub(crate) const PERSON: &str = "ada@contoso.example";
pub(super) const PEOPLE: [&str; 3] = [PERSON, "grace@contoso.example", "o'neill@contoso.example"];

pub(super) const WORKSPACES: [&str; 8] = [
    "Sales",
    "Anne's Reports",
    "Vertrieb – Köln & Aachen",
    "財務レポート",
    "50% \"off\" / promo",
    "Operations + Logistics",
    "Отчёты",
    "sales",
];

pub(super) const DATASETS: [&str; 10] = [
    "Orders",
    "Customer 360°",
    "O'Hare Traffic",
    "Umsätze 2026",
    "Inventory #2",
    "売上 Sales",
    "Churn; Retention",
    "P&L",
    "\"Gold\" Layer",
    "Ad hoc",
];
